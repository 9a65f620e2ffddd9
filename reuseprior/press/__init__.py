"""What prints and judges, and knows no work: ledger, notebooks, batch, book."""
