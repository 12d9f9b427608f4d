"""Archives the classes that Spark loads, so that further JVMs map them and start in half the time.

    spark_classes.py FILE

FILE is for -XX:SharedArchiveFile (JEP 350), by JVMs of the same version with the same class path; any other starts as if it
were not there.
"""
import os
import sys

import numpy as np


def exercise(spark):
    """What most programs do, for the sake of the classes that it takes."""
    from pyspark.ml.functions import vector_to_array
    from pyspark.ml.linalg import Vectors
    rows = spark.createDataFrame([(i, Vectors.dense(np.ones(4))) for i in range(100)], ["id", "features"]).repartition(2)
    arrays = rows.select("id", vector_to_array("features", "float32").alias("features")).cache()
    for barrier in (False, True):
        arrays.mapInArrow(lambda batches: batches, arrays.schema, barrier=barrier).collect()
    arrays.groupBy("id").count().orderBy("id").toPandas()
    spark.sparkContext.parallelize(range(4), 2).mapPartitions(lambda part: part).collect()


def main():
    file = os.path.abspath(sys.argv[1])
    os.makedirs(os.path.dirname(file), exist_ok=True)
    os.environ["SPARK_SUBMIT_OPTS"] = "-XX:ArchiveClassesAtExit=%s.new -Xlog:disable -Xlog:all=error:stderr" % file
    os.environ["PYSPARK_PYTHON"] = sys.executable
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    from pyspark.sql import SparkSession
    spark = (SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
             .config("spark.ui.showConsoleProgress", "false").getOrCreate())
    gateway = spark.sparkContext._gateway
    exercise(spark)
    spark.stop()
    gateway.shutdown()
    gateway.proc.stdin.close()  # which ends the JVM
    gateway.proc.wait(120)
    os.replace(file + ".new", file)


if __name__ == "__main__":
    main()
