"""What is opened, to whom, with how much noise, and what it adds up to."""
