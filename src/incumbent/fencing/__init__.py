"""The resource's side: checkers that refuse a stale leader's write, in the transaction of the write itself."""
