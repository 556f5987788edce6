"""A running night, seen and steered: publishing, following, orders.

Face: `follower`, `order_client`, `order_server`, `publisher`, `standing`, `steering`, `summaries`, `tallies`.
"""
