"""How `daynight` is learned: two views of one photograph in other light, and what the network shall say of both."""
