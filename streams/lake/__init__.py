"""The lake: events and tables as Parquet for analysts, and SQL over it (Y10, F16, F20, F24).

    columns.py    what the datasets are and what their columns mean; the only list of them
    rows.py       records and table values as flat rows; people by pseudonym
    manifest.py   which files are the lake, and which records they hold; committed by rename
    parquet.py    files: writing, merging (needs pyarrow, so only in child processes)
    sink.py       one run: what is new on the log goes into files (child process)
    query.py      one query over the files of the manifest (child process)
    service.py    what the server and the command line call

The server never loads pyarrow or DuckDB: it starts a child that reads the log beside it, read-only, from
the offsets in the manifest. So serving is not slowed, a crash of the child loses and repeats nothing, and a
server that has nothing new starts none.
"""
