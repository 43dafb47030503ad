"""The picture in the window: two pictures of one field, compared, with marks over them."""
