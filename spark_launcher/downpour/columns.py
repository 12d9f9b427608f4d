"""What a DataFrame's columns are to a net: an expression for each of features, labels, weights and what is held out."""
from __future__ import annotations

from typing import Iterable, Sequence, Union

from pyspark.ml.functions import vector_to_array
from pyspark.ml.linalg import VectorUDT
from pyspark.sql import functions as F
from pyspark.sql.types import (ArrayType, BinaryType, BooleanType, DecimalType, DoubleType, FloatType, NumericType,
                               StringType, UserDefinedType)

from .errors import DataError


def features(df, column: Union[str, Sequence[str]]):
    """A Column of bytes, array<float> or array<double>.

    From a column of vectors (dense or sparse), arrays of numbers, or bytes, one a value; or from several columns of
    numbers, in their order. Raises DataError for a column that is not there or of another type.
    """
    if not isinstance(column, str):
        for name in column:
            kind = _type_of(df, name, "features")
            if not isinstance(kind, (NumericType, BooleanType)):
                raise DataError("column '%s', one of several for the features, is of type %s: each should be a number%s"
                                % (name, kind.simpleString(), _how_to_encode(kind)))
        return F.array(*[df[_quoted(name)].cast("float") for name in column])
    kind = _type_of(df, column, "features")
    expression = df[_quoted(column)]
    if isinstance(kind, VectorUDT):  # a null would be an error that names neither column nor row
        return F.when(expression.isNotNull(), vector_to_array(expression, "float32"))
    if isinstance(kind, BinaryType):
        return expression
    if isinstance(kind, ArrayType):
        if isinstance(kind.elementType, (FloatType, DoubleType)):
            return expression
        if isinstance(kind.elementType, (NumericType, BooleanType)):
            return expression.cast("array<float>")
    raise DataError("column '%s' is of type %s: features should be a vector, an array of numbers or bytes, or several columns"
                    " of numbers%s" % (column, kind.simpleString(), _how_to_encode(kind)))


def features_in_python(df, column: Union[str, Sequence[str]]) -> str:
    """How a user writes the features as one array in Python; "" where that is the column itself."""
    if not isinstance(column, str):
        return "F.array(%s)" % ", ".join(repr(_quoted(name)) for name in column)
    if isinstance(_type_of(df, column, "features"), VectorUDT):
        return "pyspark.ml.functions.vector_to_array(%r)" % _quoted(column)
    return ""


def label(df, column: str):
    """A Column of numbers; whether they are classes, where the net takes such, the worker says. Raises DataError as `features`."""
    kind = _type_of(df, column, "labels")
    if not isinstance(kind, (NumericType, BooleanType)):
        raise DataError("column '%s' is of type %s: labels should be numbers, for classes counted from 0%s"
                        % (column, kind.simpleString(), _how_to_encode(kind)))
    expression = df[_quoted(column)]
    if isinstance(kind, BooleanType):
        return expression.cast("int")
    return expression.cast("double") if isinstance(kind, DecimalType) else expression


def weight(df, column: str):
    """A Column of doubles. Raises DataError as `features`."""
    kind = _type_of(df, column, "weights")
    if not isinstance(kind, NumericType):
        raise DataError("column '%s' is of type %s: weights should be numbers, at least 0" % (column, kind.simpleString()))
    return df[_quoted(column)].cast("double")


def held_out(df, column: str):
    """A Column of booleans. Raises DataError as `features`."""
    kind = _type_of(df, column, "validation indicator")
    if not isinstance(kind, BooleanType):
        raise DataError("column '%s' is of type %s: a validation indicator should be a boolean, true for rows that are"
                        " measured and not trained on" % (column, kind.simpleString()))
    return df[_quoted(column)]


def by_rows(df):
    """The same rows, where Spark 4.3 would hand a file's columns to an Arrow function by batches, and fails if one of them
    is of vectors, whether the function takes it or not: a filter that lets all pass makes rows of them first."""
    if not any(isinstance(field.dataType, UserDefinedType) for field in df.schema.fields):
        return df
    cheap = sorted(df.schema.fields, key=lambda field: isinstance(field.dataType, UserDefinedType))[0]
    return df.filter(F.xxhash64(df[_quoted(cheap.name)]) >= F.lit(-2 ** 63))


def free_name(taken: Iterable[str], wish: str) -> str:
    """A column name that is none of those, as Spark compares them, without regard to case."""
    taken = {name.lower() for name in taken}
    name = wish
    while name.lower() in taken:
        name += "_"
    return name


def check_new(df, names: Sequence[str]) -> None:
    """Raises ValueError where columns of these names cannot be added, as pyspark.ml's models do."""
    taken = {name.lower() for name in df.columns}
    for name in names:
        if name.lower() in taken:
            raise ValueError("there is a column '%s' already" % name)
        taken.add(name.lower())


def _type_of(df, name: str, what: str):
    for field in df.schema.fields:
        if field.name == name:
            return field.dataType
    raise DataError("there is no column '%s' for the %s; the columns are %s" % (name, what, ", ".join(df.columns)))


def _quoted(name: str) -> str:
    return "`%s`" % name.replace("`", "``")


def _how_to_encode(kind) -> str:
    return "; pyspark.ml.feature.StringIndexer makes numbers of text" if isinstance(kind, StringType) else ""
