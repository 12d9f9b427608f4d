"""One ps-predict child: a trained net that answers rows with layers' values (worker/CONTRACT.md)."""
from __future__ import annotations

import os
import select
import subprocess
import tempfile
from typing import Dict, List, Optional, Sequence

import numpy as np
import pyarrow as pa

from .errors import TrainingFailed
from .frames import AnswerDecoder, Columns, Frame, FrameEncoder, unwritten
from .memory import spool_dir
from .programs import PREDICT, find_program, loader_hint, why_not_found, why_not_started

_READ_BYTES = 1 << 20
_GRACE_S = 5.0


class PredictionFailed(TrainingFailed):
    """A predictor that did not start or did not end well; the message says why."""


class Predictor:
    """Computes layers' values of rows in a child process; a context manager, at whose end no process is left.

        with Predictor(job_text, model, row_values, ["ip1"]) as predictor:
            values = predictor.values(features)["ip1"]     # float32, a row for each of features

    Args:
      job_text: the job file, whose net and data section count.
      model: the parameters, as the bytes of a safetensors file.
      row_values: number of values of a sample.
      layers: whose values; none for the last before the loss, the scores.
      program: path of ps-predict; None for the one in the package.

    For one thread. Raises DataError for rows that cannot be taken, PredictionFailed for the rest.
    """

    def __init__(self, job_text: str, model: bytes, row_values: int, layers: Sequence[str] = (),
                 program: Optional[str] = None):
        self._job_text = job_text
        self._model = model
        self._layers = layers
        self._program = program
        self._encoder = FrameEncoder(Columns("features"), row_values)
        self._decoder = AnswerDecoder()

    def __enter__(self) -> Predictor:
        try:
            program = find_program(PREDICT, self._program)
        except FileNotFoundError as error:
            raise PredictionFailed(why_not_found(error)) from error
        self._folder = tempfile.TemporaryDirectory(prefix="downpour-", dir=spool_dir())
        config, model = (os.path.join(self._folder.name, name) for name in ("job.yaml", "model.safetensors"))
        with open(config, "w", encoding="utf-8") as file:
            file.write(self._job_text)
        with open(model, "wb") as file:
            file.write(self._model)
        self._errors = tempfile.TemporaryFile(dir=self._folder.name)
        command = [program, "--config", config, "--model", model]
        if self._layers:
            command += ["--layers", ",".join(self._layers)]
        try:
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                             stderr=self._errors, bufsize=0, start_new_session=True)
        except OSError as error:
            self._errors.close()
            self._folder.cleanup()
            raise PredictionFailed(why_not_started(program, error)) from error
        os.set_blocking(self._process.stdin.fileno(), False)
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        self._process.stdout.close()
        try:
            self._process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()
        self._folder.cleanup()

    def values(self, features: pa.Array) -> Dict[str, np.ndarray]:
        """By layer, its values for each row: a matrix with a row for each of `features`."""
        batch = pa.RecordBatch.from_arrays([features], names=["features"])
        answers: List[Dict[str, np.ndarray]] = []
        missing = batch.num_rows
        for frame in self._encoder.encode(batch):
            missing -= self._exchange(frame, answers, None)
        missing -= self._exchange([], answers, missing)
        if not answers:
            return {}
        return {name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]}

    def _exchange(self, frame: Frame, answers: List[Dict[str, np.ndarray]], rows: Optional[int]) -> int:
        """Writes a frame, or waits for `rows` answers, and takes what comes meanwhile; how many rows came."""
        feed, answer = self._process.stdin.fileno(), self._process.stdout.fileno()
        poller = select.poll()
        poller.register(answer, select.POLLIN)
        left = [part for part in frame if len(part)]
        if left:
            poller.register(feed, select.POLLOUT)
        came = 0
        while left or (rows is not None and came < rows):
            for fd, _ in poller.poll():
                if fd == feed:
                    try:
                        left = unwritten(left, os.writev(feed, left))
                    except BlockingIOError:
                        pass
                    except BrokenPipeError:
                        raise self._failure() from None
                    if not left:
                        poller.unregister(feed)
                else:
                    data = os.read(answer, _READ_BYTES)
                    if not data:
                        raise self._failure()
                    for batch in self._decoder.decode(data):
                        answers.append(batch.values)
                        came += batch.rows
        return came

    def _failure(self) -> PredictionFailed:
        try:
            status = self._process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            return PredictionFailed("ps-predict closed its pipes but did not end")
        self._errors.seek(0)
        said = self._errors.read().decode("utf-8", "replace").strip()
        hint = loader_hint(said)
        how = "signal %d" % -status if status < 0 else "exit status %d" % status
        return PredictionFailed("%s (%s)%s" % (said or "ps-predict ended", how, "\nlikely cause: " + hint if hint else ""))
