"""What the compiler made of a graph and why, read from what every room left behind: changes, fates, reasons, dumps, the report."""
