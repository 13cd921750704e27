//! bellwether.
