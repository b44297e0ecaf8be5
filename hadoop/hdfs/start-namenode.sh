#!/usr/bin/env bash
# The NameNode's container: formats a new file system once, starts the NameNode, and makes the folders that the lake and Trino write to. (Without
# containers cli/engines/hdfs.ts and hdfs-ready.ts do the same.) Arguments are the NameNode's own.
set -euo pipefail
here=$(dirname "${BASH_SOURCE[0]}")
PATH=$PATH:/opt/hadoop/bin

if [ ! -f "$NAME_FOLDER/current/VERSION" ]; then
  # Beside its place and renamed when it is whole: a killed format leaves nothing that looks like a file system.
  rm -rf "$NAME_FOLDER.draft" "$NAME_FOLDER"
  hdfs namenode "-Ddfs.namenode.name.dir=$NAME_FOLDER.draft" -format -nonInteractive -force
  mv "$NAME_FOLDER.draft" "$NAME_FOLDER"
fi

hdfs namenode "-Ddfs.namenode.name.dir=$NAME_FOLDER" "$@" &
namenode=$!
trap 'kill -TERM "$namenode"' TERM INT
until "$here/answers.sh" "${HTTP_PORT:-9870}" '/jmx?qry=Hadoop:service=NameNode,name=FSNamesystemState' Operational; do
  if ! kill -0 "$namenode" 2>/dev/null; then wait "$namenode"; exit; fi
  sleep 1
done
hdfs dfs -mkdir -p /shopsphere /warehouse /user/tidemark /tmp
hdfs dfs -chown tidemark:tidemark /shopsphere /warehouse /user/tidemark
hdfs dfs -chmod 1777 /tmp
# The first wait ends when the signal arrives, the second when the NameNode has.
wait "$namenode" || wait "$namenode"
