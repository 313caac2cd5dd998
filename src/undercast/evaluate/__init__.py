"""A predictor and chips to one row a chip, and every statistic from that table."""
