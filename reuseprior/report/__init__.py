"""What prints and judges, and knows no chapter: ledger, notebooks, batch, book."""
