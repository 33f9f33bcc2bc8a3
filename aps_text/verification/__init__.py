"""`aps verify`: what a real checkpoint must do on a real machine, each as one line of a report."""
