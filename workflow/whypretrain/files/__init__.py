"""What is written and read: tables, networks, snapshots, and what they say of where they come from."""
