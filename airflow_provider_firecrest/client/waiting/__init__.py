"""Waiting for what runs on the system: when to ask again, what the answers mean, and when to give up.

- ``patience``: pauses between questions, and which failed questions to wait through.
- ``job_watch``: what answers say about Slurm jobs.
- ``task_watch``: what answers say about FirecREST v1's tasks.
- ``answered_time``: why an outage makes neither lost nor stuck.
- ``wait_for_job``: the client's own call on top of these, for scripts and for the steps of larger calls.
- ``cancel``: ending a job, and seeing it end.

Operators, sensors and triggers wait by the same rules. Knows nothing of Airflow.
"""
