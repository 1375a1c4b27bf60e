"""What is built of actors: pools of workers, routers, flows with back pressure, and a directory of names."""
