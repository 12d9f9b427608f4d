"""One ps-predict child."""
import json
import struct

import numpy as np
import pyarrow as pa
import pytest

from downpour.errors import DataError
from downpour.frames import AnswerDecoder
from downpour.predictor import PredictionFailed, Predictor

JOB = json.dumps({"name": "p", "data": {"shape": [2], "scale": 1}, "net": [
    {"name": "ip", "type": "inner_product", "outputs": 3}, {"name": "loss", "type": "softmax_loss"}]})
WEIGHT = np.arange(6, dtype=np.float32).reshape(3, 2)
BIAS = np.array([0.5, 0, -1], np.float32)


def safetensors(**tensors):
    header, data = {}, b""
    for name, tensor in tensors.items():
        begin = len(data)
        data += tensor.tobytes()
        header[name.replace("_", ".")] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [begin, len(data)]}
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


MODEL = safetensors(ip_weight=WEIGHT, ip_bias=BIAS)


def rows(values):
    return pa.array([list(row) for row in values], pa.list_(pa.float32()))


def test_values_of_each_row_in_order():
    dice = np.random.default_rng(1)
    with Predictor(JOB, MODEL, 2) as predictor:
        for count in (1, 0, 1000, 7):
            features = dice.normal(size=(count, 2)).astype(np.float32)
            values = predictor.values(rows(features))
            if count:
                assert np.allclose(values["ip"], features @ WEIGHT.T + BIAS, atol=1e-5)
            else:
                assert values == {}


def test_answers_larger_than_the_pipes_do_not_block():
    job = json.loads(JOB)
    job["net"][0]["outputs"] = 500
    model = safetensors(ip_weight=np.zeros((500, 2), np.float32), ip_bias=np.arange(500, dtype=np.float32))
    with Predictor(json.dumps(job), model, 2) as predictor:
        values = predictor.values(rows(np.zeros((20000, 2))))["ip"]
    assert values.shape == (20000, 500) and (values == np.arange(500)).all()


def test_no_process_is_left():
    with Predictor(JOB, MODEL, 2) as predictor:
        process = predictor._process
        predictor.values(rows([[1, 2]]))
    assert process.returncode is not None
    with pytest.raises(KeyError):
        with Predictor(JOB, MODEL, 2) as predictor:
            process = predictor._process
            raise KeyError
    assert process.returncode is not None


def test_what_goes_wrong_is_said():
    def mistake(*arguments, **more):
        with pytest.raises(PredictionFailed) as failed:
            with Predictor(*arguments, **more) as predictor:
                predictor.values(rows([[1, 2]] * 100000))
        return str(failed.value)
    assert "tensor ip.bias is not there" in mistake(JOB, safetensors(ip_weight=WEIGHT), 2)
    assert "no safetensors file" in mistake(JOB, b"\0" * 4, 2)
    assert "the net has no layer x" in mistake(JOB, MODEL, 2, ["x"])
    assert "unknown key" in mistake('{"nane": 1}', MODEL, 2)
    assert "(exit status 64)" in mistake(JOB, b"", 2)
    assert "ps-predict is not there" in mistake(JOB, MODEL, 2, program="/none")
    assert "its mode lacks x" in mistake(JOB, MODEL, 2, program="/etc/passwd")
    with Predictor(JOB, MODEL, 2) as predictor, pytest.raises(DataError, match="has 3 values"):
        predictor.values(rows([[1, 2, 3]]))


def test_a_killed_predictor_is_no_hang():
    with pytest.raises(PredictionFailed, match="signal 9"):
        with Predictor(JOB, MODEL, 2) as predictor:
            predictor._process.kill()
            predictor.values(rows([[1, 2]] * 100000))


def test_frames_are_decoded_however_they_are_cut():
    body = struct.pack("<I", 2) + b"".join(
        struct.pack("<H", len(name)) + name + struct.pack("<BBIII", 4, 3, width, 1, 1)
        for name, width in ((b"a", 2), (b"b", 1)))
    batch = struct.pack("<II", 2, 0) + np.arange(6, dtype=np.float32).tobytes()
    stream = b"".join(struct.pack("<4sHHQ", b"DPF1", kind, 0, len(part)) + part
                      for kind, part in ((1, body), (2, batch), (3, struct.pack("<Q", 2))))
    for piece in (1, 7, len(stream)):
        decoder = AnswerDecoder()
        answers = [a for at in range(0, len(stream), piece) for a in decoder.decode(stream[at:at + piece])]
        assert decoder.ended and len(answers) == 1 and answers[0].rows == 2
        assert answers[0].values["a"].tolist() == [[0, 1], [2, 3]]
        assert answers[0].values["b"].tolist() == [[4], [5]]
    with pytest.raises(ValueError, match="not a frame"):
        list(AnswerDecoder().decode(b"x" * 16))
