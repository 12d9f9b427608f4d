"""Saving and loading, where Spark keeps files: metadata as pyspark.ml writes them, and a table of one row with the job and
the model, so that any language and any file system that Spark knows can."""
from __future__ import annotations

import os

from pyspark.ml.util import DefaultParamsReader, DefaultParamsWriter, MLReadable, MLReader, MLWritable, MLWriter
from pyspark.sql.utils import is_remote

from .trained_net import TrainedNet

_DATA = "job string, model binary, num_classes int, num_features int"


def _metadata_place(spark):
    """What DefaultParamsWriter wants: the session, and before Spark 4 its context."""
    import pyspark
    return spark if int(pyspark.__version__.split(".")[0]) >= 4 else spark.sparkContext


class _ParamsWriter(MLWriter):
    def __init__(self, instance):
        super().__init__()
        self._instance = instance

    def save(self, path: str) -> None:
        if not is_remote():
            return super().save(path)
        # What MLWriter does to overwrite wants the JVM; here each table overwrites its own.
        mode = "overwrite" if self.shouldOverwrite else "error"
        metadata = DefaultParamsWriter._get_metadata_to_save(self._instance, self.sparkSession)
        self._table([(metadata,)], "value string").mode(mode).text(os.path.join(path, "metadata"))
        self._save_data(path, mode)

    def saveImpl(self, path: str) -> None:
        DefaultParamsWriter.saveMetadata(self._instance, path, _metadata_place(self.sparkSession))
        self._save_data(path, "error")

    def _save_data(self, path: str, mode: str) -> None:
        """What there is besides params."""

    def _table(self, rows, schema: str):
        return self.sparkSession.createDataFrame(rows, schema).coalesce(1).write


class ParamsWritable(MLWritable):
    """Of what has nothing but params."""

    def write(self) -> MLWriter:
        return _ParamsWriter(self)


class ParamsReadable(MLReadable):
    @classmethod
    def read(cls):
        return _Reader(cls)


class _ModelWriter(_ParamsWriter):
    def _save_data(self, path: str, mode: str) -> None:
        net = self._instance._net
        self._table([net._replace(parameters=bytearray(net.parameters))], _DATA).mode(mode).parquet(os.path.join(path, "data"))


class DownpourModelWritable(MLWritable):
    def write(self) -> MLWriter:
        return _ModelWriter(self)


class DownpourModelReadable(MLReadable):
    @classmethod
    def read(cls):
        return _ModelReader(cls)


class _Reader(MLReader):
    def __init__(self, cls):
        super().__init__()
        self._cls = cls

    def load(self, path: str):
        name = "%s.%s" % (self._cls.__module__, self._cls.__name__)
        # What DefaultParamsReader does itself before Spark 4 wants a context.
        line = self.sparkSession.read.text(os.path.join(path, "metadata")).first()
        try:
            metadata = DefaultParamsReader._parseMetaData(line.value)
            metadata["class"], metadata["uid"], metadata["paramMap"]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError("%s holds nothing that was saved by %s, or it is damaged: its metadata cannot be read"
                             % (path, name)) from error
        if metadata["class"] not in (name, name.replace(".ml.", ".ml.classifier.")):  # the first versions' name of it
            raise ValueError("%s holds a %s, not a %s" % (path, metadata["class"], name))
        instance = self._make(path)
        instance._resetUid(metadata["uid"])
        DefaultParamsReader.getAndSetParams(instance, metadata)
        return instance

    def _make(self, path: str):
        return self._cls()


class _ModelReader(_Reader):
    def _make(self, path: str):
        row = self.sparkSession.read.schema(_DATA).parquet(os.path.join(path, "data")).first()
        if row is None or not (row.job and row.model and row.num_features):
            raise ValueError("%s holds no model, or a damaged one" % path)
        return self._cls(TrainedNet(row.job, bytes(row.model), row.num_classes, row.num_features))
