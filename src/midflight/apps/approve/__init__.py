"""The approval page: where people with an account answer what policies ask."""
