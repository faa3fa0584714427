"""The SQL store: what customers did, what they were shown, and the facts that the rules are judged by."""
