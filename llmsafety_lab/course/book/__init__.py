"""From the masters to the site: notebooks built and executed, the book assembled and built."""
