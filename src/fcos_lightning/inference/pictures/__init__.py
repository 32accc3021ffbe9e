"""What a picture is held in on its way to a detector, and what is drawn on it afterwards."""
