"""What keeps people out of the machine: redaction, sensitive facts, suppression, erasure and its proof, retention."""
