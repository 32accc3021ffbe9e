"""Records of a run that Lightning's loggers do not keep as we need them."""
