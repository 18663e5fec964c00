"""What a service manager says to a service, and the other way round. Nothing of it needs one."""
