"""What others' engines need to run, restart and watch nodes: units, manifests, alerts, a dashboard, Ray.

An engine places a node's identity and starts it again on its data. Who leads, and who is a member, it never
decides.
"""
