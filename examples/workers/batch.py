"""A batch job over a pool of processes, as Celery's prefork pool is one.

It asks in the class `batch`: it goes when nobody more urgent wants to, and waits as long as it takes.
The limiter is made before the processes are: it starts anew in each of them.
"""

import multiprocessing
import os
import sys

import openai
import watermaster

http = watermaster.Client(
    os.environ.get("WATERMASTER", "localhost:8081"),
    organization="acme",
    project="nightly",
    priority_class="batch",
    max_wait=3600,
)
client = openai.OpenAI(http_client=http)


def summarize(document: tuple[int, str]) -> tuple[int, str]:
    number, text = document
    with watermaster.options(request_id=f"nightly-{os.getppid()}-{number}"):  # started again, it keeps its place
        answer = client.chat.completions.create(
            model="gpt-5", max_tokens=40, messages=[{"role": "user", "content": f"Summarize: {text}"}]
        )
    return number, answer.choices[0].message.content or ""


if __name__ == "__main__":
    documents = [(i, f"report {i} on the river's level ") for i in range(int(sys.argv[1]) if len(sys.argv) > 1 else 24)]
    with multiprocessing.get_context("fork").Pool(4) as pool:
        for done, (number, summary) in enumerate(pool.imap_unordered(summarize, documents), 1):
            print(f"{done}/{len(documents)} report {number}: {summary[:50]}")
        pool.close()
        pool.join()
