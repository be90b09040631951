"""What the commands are told: their configurations, read from arguments without importing what does the work."""
