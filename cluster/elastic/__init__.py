"""Workers join and leave a running job."""
