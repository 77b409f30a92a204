//! `zkbench`: a load generator for servers that speak `ZooKeeper`'s client protocol.

fn main() {}
