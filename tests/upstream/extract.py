"""Writes unfinished.json and archives.txt of a dump of the original's database (pg_dump --column-inserts): what its tables hold of
attempts that were under way when the server was killed, and the archives of those that had ended.

usage: extract.py DUMP.sql.gz EXPECTED_FINAL.json
"""
import datetime
import gzip
import json
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).parent
VALUE = re.compile(r"'((?:[^']|'')*)'|(NULL)|(-?\d+)")


def rows(text, table):
    """Dictionaries of the INSERT statements of a table."""
    for statement in re.finditer(rf"^INSERT INTO public\.{table} \(([^)]*)\) VALUES \((.*?)\);$", text, re.M | re.S):
        values = [None if null else int(number) if number else quoted.replace("''", "'")
                  for quoted, null, number in VALUE.findall(statement[2])]
        yield dict(zip(statement[1].split(", "), values, strict=True))


def millis(time):
    return time and int(datetime.datetime.fromisoformat(time.replace("+00", "+00:00")).timestamp() * 1000)


def parsed(row, *columns):
    return {column: json.loads(row[column]) for column in columns if row[column] is not None}


RESULT = ("subtask_config", "export_params", "store_params", "error", "reset_store_params")
CONFIG = ("local_config", "export_config")


def main():
    text = gzip.open(sys.argv[1], "rt").read()
    expected = json.load(open(sys.argv[2]))["attempts"]
    details = {row["id"]: row for row in rows(text, "task_details")}
    states = {row["id"]: row for row in rows(text, "task_state_details")}
    upstreams = {}
    for row in rows(text, "task_dependencies"):
        upstreams.setdefault(row["downstream_id"], []).append(row["upstream_id"])
    attempts = {row["id"]: {"id": row["id"], "killed": bool(row["state_flags"] & 1), "tasks": [], "resumed": []}
                for row in rows(text, "session_attempts") if not row["state_flags"] & 2}
    for row in sorted(rows(text, "tasks"), key=lambda row: row["id"]):
        task = {key: row[key] for key in ("id", "parent_id", "task_type", "state", "state_flags", "retry_count") if row[key]}
        task |= {key: millis(row[key]) for key in ("updated_at", "retry_at", "started_at") if row[key]}
        detail = details[row["id"]]
        task |= {"full_name": detail["full_name"]} | parsed(row, "state_params") | parsed(detail, *CONFIG)
        task |= parsed(states[row["id"]], *RESULT)
        task.get("error", {}).pop("stacktrace", None)
        if row["id"] in upstreams:
            task["upstreams"] = sorted(upstreams[row["id"]])
        attempts[row["attempt_id"]]["tasks"].append(task)
    for row in rows(text, "resuming_tasks"):
        task = {"source_task_id": row["source_task_id"], "full_name": row["full_name"], "updated_at": millis(row["updated_at"])}
        attempts[row["attempt_id"]]["resumed"].append(task | parsed(row, *CONFIG, *RESULT))
    for row in rows(text, "session_monitors"):
        if row["attempt_id"] in attempts:
            attempts[row["attempt_id"]]["monitor"] = {"next_run_time": row["next_run_time"]} | parsed(row, "config")
    for attempt in attempts.values():
        final = expected[str(attempt["id"])]
        attempt["final"] = {key: final[key] for key in ("workflow", "status", "tasks", "ran")}
    lines = ",\n".join(json.dumps(attempts[id], ensure_ascii=False, separators=(",", ":")) for id in sorted(attempts))
    (HERE / "unfinished.json").write_text(f"[{lines}]\n")
    archives = sorted((row["id"], row["tasks"]) for row in rows(text, "task_archives"))
    (HERE / "archives.txt").write_text("".join(f"{id} {tasks}\n" for id, tasks in archives))


if __name__ == "__main__":
    main()
