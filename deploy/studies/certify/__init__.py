"""What can be promised of the chips of a network: a share of them keeps an accuracy, with a confidence."""
