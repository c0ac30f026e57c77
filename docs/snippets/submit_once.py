from airflow_provider_firecrest.client import ClientCredentials, FirecrestClient, Settings
from airflow_provider_firecrest.client.attempts import Attempt, Submission, build_request

settings = Settings(
    base_url="https://api.example.org/hpc/firecrest/v2",
    auth=ClientCredentials(
        auth_url="https://auth.example.org/token",
        client_id="my-id",
        client_secret="my-secret",
    ),
    system="daint",
)

with FirecrestClient(settings) as client:
    request = build_request(
        client,
        script_text="#!/bin/bash\necho simulated > result\n",
        job_name="simulate",
        working_dir="/scratch/me",
    )
    attempt = Attempt(("simulation", "2026-11-20"), generation=0)
    job = Submission(client, request, attempt).run()
    print(job.job_id, "adopted" if job.adopted else "submitted")
