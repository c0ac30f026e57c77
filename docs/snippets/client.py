from airflow_provider_firecrest.client import ClientCredentials, FirecrestClient, Settings

settings = Settings(
    base_url="https://api.example.org/hpc/firecrest/v2",
    auth=ClientCredentials(
        auth_url="https://auth.example.org/token",
        client_id="my-id",
        client_secret="my-secret",
    ),
    system="daint",
    account="proj01",
)

with FirecrestClient(settings) as client:
    for file in client.ls("/scratch/me"):
        print(file.name, file.size)
    job_id = client.submit_job("#!/bin/bash -l\nhostname\n", working_dir="/scratch/me")
    print(job_id, client.get_job(job_id).state)
