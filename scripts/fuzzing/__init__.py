"""Files as damaged disks, odd tools and ill-wishers make them."""
