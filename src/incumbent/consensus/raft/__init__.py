"""consensus/raft"""
