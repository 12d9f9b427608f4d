"""The settings of Downpour's estimators, each a Param, and the job file that they make."""
from __future__ import annotations

import json
import os
import re
from typing import Any, Dict, List, Union

from pyspark.ml.param import Param, Params, TypeConverters
from pyspark.ml.param.shared import (HasFeaturesCol, HasLabelCol, HasMaxIter, HasPredictionCol, HasSeed, HasStepSize,
                                     HasValidationIndicatorCol, HasWeightCol)

from ..errors import DataError, TrainingFailed
from ..placement import DRIVER
from ..supervisor import Job, check_job

# By Param, the job's key that it sets.
_KEYS = {"numWorkers": "workers", "maxIter": "training.epochs", "batchSize": "training.batch",
         "stepSize": "optimizer.learning_rate", "seed": "seed", "syncMode": "sync.mode", "runDir": "run.dir"}


def _to_settings(value: Any) -> Dict[str, Any]:
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        try:
            return json.loads(json.dumps(value, default=lambda one: one.tolist()))  # numpy's numbers and arrays
        except (AttributeError, ValueError) as error:
            raise TypeError("settings should have plain values, as YAML has them, not %r: %s" % (value, error)) from error
    raise TypeError("settings should be a dict of job keys, such as {'sync.n_push': 10}, not %r" % (value,))


class DownpourParams(HasFeaturesCol, HasLabelCol, HasPredictionCol, HasWeightCol, HasValidationIndicatorCol, HasMaxIter,
                     HasStepSize, HasSeed):
    """Params that a Downpour estimator and its model share. What is not set is as the job says, or by its default."""

    featuresCols: "Param[List[str]]" = Param(
        Params._dummy(), "featuresCols", "in place of featuresCol: columns of numbers, in the order of the net's values.",
        TypeConverters.toListString)
    job: "Param[str]" = Param(
        Params._dummy(), "job", "the job: YAML text, or the path of a file of it on the driver. Its net and all else in it can"
        " be changed by the other params.", TypeConverters.toString)
    layers: "Param[List[int]]" = Param(
        Params._dummy(), "layers", "in place of a job's net: numbers of values from the features to the classes, such as"
        " [784, 256, 10], for inner products with ReLU between them; for a regression the last is 1.", TypeConverters.toListInt)
    settings: "Param[Dict[str, Any]]" = Param(
        Params._dummy(), "settings", "further keys of the job by their paths, such as {'sync.n_push': 10}.", _to_settings)
    maxIter: "Param[int]" = Param(
        Params._dummy(), "maxIter", "epochs: times that the rows are gone through; where not set, as the job says, or 1.",
        TypeConverters.toInt)
    stepSize: "Param[float]" = Param(
        Params._dummy(), "stepSize", "learning rate; where not set, as the job says, or what its optimizer has by default.",
        TypeConverters.toFloat)
    seed: "Param[int]" = Param(
        Params._dummy(), "seed", "of the first parameters and the order of rows; where not set, as the job says, or 1.",
        TypeConverters.toInt)
    syncMode: "Param[str]" = Param(
        Params._dummy(), "syncMode", "how workers combine what they learn: downpour, asp, bsp, ssp, local_sgd, easgd, peer;"
        " where not set, as the job says, or downpour.", TypeConverters.toString)
    numWorkers: "Param[int]" = Param(
        Params._dummy(), "numWorkers", "workers, each for one partition of the data; where not set, as the job says, or 2.",
        TypeConverters.toInt)
    batchSize: "Param[int]" = Param(
        Params._dummy(), "batchSize", "rows in one worker's step; where not set, as the job says, or 64.", TypeConverters.toInt)
    servers: "Param[str]" = Param(
        Params._dummy(), "servers", "where the parameters live: driver, tasks, running, or the addresses of servers that run,"
        " separated by commas; as downpour.train takes it. Where not set, driver.", TypeConverters.toString)
    runDir: "Param[str]" = Param(
        Params._dummy(), "runDir", "folder on the driver in which each fit makes one for its logs, metrics and model; where"
        " not set, as the job says, or runs.", TypeConverters.toString)
    repartitionRandomShuffle: "Param[bool]" = Param(
        Params._dummy(), "repartitionRandomShuffle", "deal the rows out to the workers as if at random, however they are"
        " sorted; where false, partitions stay as they are if they are as many as workers.", TypeConverters.toBoolean)

    def __init__(self):
        super().__init__()
        self._setDefault(repartitionRandomShuffle=True)

    def setFeaturesCol(self, value: str):
        return self._set(featuresCol=value)

    def setFeaturesCols(self, value: List[str]):
        return self._set(featuresCols=value)

    def setLabelCol(self, value: str):
        return self._set(labelCol=value)

    def setPredictionCol(self, value: str):
        return self._set(predictionCol=value)

    def setWeightCol(self, value: str):
        return self._set(weightCol=value)

    def setValidationIndicatorCol(self, value: str):
        return self._set(validationIndicatorCol=value)

    def setMaxIter(self, value: int):
        return self._set(maxIter=value)

    def setStepSize(self, value: float):
        return self._set(stepSize=value)

    def getSeed(self) -> int:
        """What was set. Otherwise the job's own seed counts, and not what pyspark.ml makes of the class's name."""
        return self.getOrDefault(self.seed)

    def setSeed(self, value: int):
        return self._set(seed=value)

    def setJob(self, value: str):
        return self._set(job=value)

    def setLayers(self, value: List[int]):
        return self._set(layers=value)

    def setSettings(self, value: Dict[str, Any]):
        return self._set(settings=value)

    def setSyncMode(self, value: str):
        return self._set(syncMode=value)

    def setNumWorkers(self, value: int):
        return self._set(numWorkers=value)

    def setBatchSize(self, value: int):
        return self._set(batchSize=value)

    def setServers(self, value: str):
        return self._set(servers=value)

    def setRunDir(self, value: str):
        return self._set(runDir=value)

    def setRepartitionRandomShuffle(self, value: bool):
        return self._set(repartitionRandomShuffle=value)

    def getFeaturesCols(self) -> List[str]:
        return self.getOrDefault(self.featuresCols)

    def getJob(self) -> str:
        return self.getOrDefault(self.job)

    def getLayers(self) -> List[int]:
        return self.getOrDefault(self.layers)

    def getSettings(self) -> Dict[str, Any]:
        return self.getOrDefault(self.settings)

    def getSyncMode(self) -> str:
        return self.getOrDefault(self.syncMode)

    def getNumWorkers(self) -> int:
        return self.getOrDefault(self.numWorkers)

    def getBatchSize(self) -> int:
        return self.getOrDefault(self.batchSize)

    def getServers(self) -> str:
        """"driver" where it is not set."""
        return self.getOrDefault(self.servers) if self.isDefined(self.servers) else DRIVER

    def getRunDir(self) -> str:
        return self.getOrDefault(self.runDir)

    def getRepartitionRandomShuffle(self) -> bool:
        return self.getOrDefault(self.repartitionRandomShuffle)

    def _features_columns(self) -> Union[str, List[str]]:
        return self.getFeaturesCols() if self.isSet(self.featuresCols) else self.getFeaturesCol()

    def _resolve_job(self, folder: str, loss: str) -> Job:
        """The job that these params make, checked and with all its defaults, in a file in `folder`.

        loss: the type of the last layer, where the net is made of `layers`.
        """
        own = self.isDefined(self.job)
        path = self._job_file(folder) if own else _written(folder, "{}\n")
        if not own and not self.isDefined(self.layers):
            raise DataError("there is no net: set layers, or job")
        given = {} if own else {"name": _job_name(self.uid)}
        by_param = {}
        if self.isDefined(self.layers):
            by_param["layers"] = _net_of(self.getLayers(), loss)
        for name, key in _KEYS.items():
            if self.isSet(getattr(self, name)):
                by_param[name] = {key: self.getOrDefault(name)}
        if self.isDefined(self.settings):
            by_param["settings"] = self.getSettings()
        for keys in by_param.values():
            given.update(keys)
        try:
            job = check_job(path, settings=given)
        except TrainingFailed as error:
            ours = os.path.dirname(path) == folder
            raise type(error)(_in_terms_of_params(str(error), by_param, path, ours)) from None
        resolved = os.path.join(folder, "resolved.yaml")
        with open(resolved, "w", encoding="utf-8") as file:
            json.dump(job.resolved, file)  # JSON is YAML
        return job._replace(path=resolved)

    def _job_file(self, folder: str) -> str:
        """Path of the job that was given: its own, or a file in `folder` of its text."""
        job = self.getJob()
        if "\n" not in job and os.path.isfile(job):
            return job
        if "\n" not in job and ":" not in job:
            raise DataError("there is no job file %s" % job)
        return _written(folder, job)


def described(instance: Params, facts: Dict[str, Any]) -> str:
    """The kind and uid of an estimator or a model, facts of it, and the params that are set, in one line."""
    facts = dict(facts)
    for param in instance.params:
        if instance.isSet(param):
            value = instance.getOrDefault(param)
            facts[param.name] = "..." if isinstance(value, str) and "\n" in value else value
    return ", ".join(["%s: uid=%s" % (type(instance).__name__, instance.uid),
                      *("%s=%s" % fact for fact in facts.items())])


def _in_terms_of_params(message: str, by_param: Dict[str, Dict[str, Any]], path: str, ours: bool) -> str:
    """What check_job says of the file and of the keys that were set beside it, in terms of what its user has set.

    by_param: the keys that each param has set, a later one in place of an earlier. ours: whether the file is this module's, of
    the job's text or of no job.
    """
    param_of = {key: name for name, keys in by_param.items() for key in keys}

    def by_its_param(found: "re.Match[str]") -> str:
        key = found.group(1)
        return "%s (%s): " % (param_of[key], key) if key in param_of else found.group(0)
    message = re.sub(r"--set ([\w.]+): ", by_its_param, message)
    if not ours:
        return message
    message = re.sub(r"^%s was refused \(status \d+\)" % re.escape(path), "the job was refused", message)
    return re.sub(r"%s:(\d+):" % re.escape(path), r"job, line \1:", message)


def _written(folder: str, text: str) -> str:
    path = os.path.join(folder, "job.yaml")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path


def _net_of(layers: List[int], loss: str) -> Dict[str, Any]:
    if len(layers) < 2 or min(layers) < 1:
        raise DataError("layers should be the number of features, those of hidden layers, and the number of classes, each"
                        " at least 1, such as [784, 256, 10]; it is %s" % (layers,))
    net = []
    for index, outputs in enumerate(layers[1:], 1):
        net.append({"name": "ip%d" % index, "type": "inner_product", "outputs": outputs})
        if index < len(layers) - 1:
            net.append({"name": "relu%d" % index, "type": "relu"})
    net.append({"name": "loss", "type": loss})
    return {"net": net, "data.shape": [layers[0]], "data.scale": 1}


def _job_name(uid: str) -> str:
    return "".join(c if c.isalnum() or c in "._-" else "-" for c in uid)[:64]
