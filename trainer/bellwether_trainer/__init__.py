"""Trains, exports and checks the models of bellwether. See README.md."""
