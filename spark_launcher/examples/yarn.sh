#!/usr/bin/env bash
# Trains customers.py on YARN; one Python environment travels with it to the driver and to every executor.
#
#   pip install venv-pack && venv-pack --output environment.tar.gz      # in an environment that has the downpour wheel
#   HADOOP_CONF_DIR=/etc/hadoop/conf ./yarn.sh environment.tar.gz hdfs:///data/customers hdfs:///models/customers
#
# Nodes need Python 3 and the libraries of tools/debian-packages.txt. Workers and servers are processes beside the JVM, so
# what they take comes out of spark.executor.memoryOverhead: the rows of a partition, and the parameters with the optimizer's
# state. With --servers tasks the parameters live in tasks, each of which keeps a slot as long as the job runs: four workers
# and one server want five cores, or three executors of two.
set -euo pipefail

environment=${1:?usage: yarn.sh ENVIRONMENT.tar.gz TABLE MODEL}
table=${2:?usage: yarn.sh ENVIRONMENT.tar.gz TABLE MODEL}
model=${3:?usage: yarn.sh ENVIRONMENT.tar.gz TABLE MODEL}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

options=(
  --master yarn
  --deploy-mode cluster
  --name customers
  --queue default

  # The environment, unpacked as ./environment in each container, and its Python for driver and executors.
  --archives "$environment#environment"
  --conf spark.yarn.appMasterEnv.PYSPARK_PYTHON=./environment/bin/python
  --conf spark.executorEnv.PYSPARK_PYTHON=./environment/bin/python

  --num-executors 3
  --executor-cores 2
  --executor-memory 2g
  --conf spark.executor.memoryOverhead=3g
  --driver-memory 2g
  --conf spark.driver.memoryOverhead=1g

  # A worker that is lost is started again, and goes on where its partition was.
  --conf spark.task.maxFailures=4
  # The run folder is the driver's container's; what is kept is the model, and these logs.
  --conf spark.yarn.maxAppAttempts=1
)

exec "${SPARK_HOME:?is not set}/bin/spark-submit" "${options[@]}" "$here/customers.py" \
  --table "$table" --model "$model" --workers 4 --epochs 20 --servers tasks
