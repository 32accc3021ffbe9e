"""The claims of the article and of the papers behind it, put to the test on any data."""
