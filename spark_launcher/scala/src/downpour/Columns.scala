package downpour

import org.apache.spark.ml.linalg.SQLDataTypes.VectorType
import org.apache.spark.sql.functions.{array, col}
import org.apache.spark.sql.types._
import org.apache.spark.sql.Column

/** What a DataFrame's columns are to a net: an expression for each of features, labels, weights and what is held out.
  *
  * DataError is thrown for a column that is not there or of another type.
  */
private[downpour] object Columns {
  /** A column of bytes, vectors, array<float> or array<double>: from one column of these or of arrays of other numbers;
    * or from a list of columns of numbers, in their order.
    */
  def features(schema: StructType, names: Either[String, Seq[String]]): Column =
    names.fold(oneForFeatures(schema, _), several => array(several.map(numberForFeatures(schema, _)): _*))

  /** A column of numbers; whether they are classes, where the net takes such, the worker says. */
  def label(schema: StructType, name: String): Column = {
    val kind = typeOf(schema, name, "labels")
    kind match {
      case BooleanType => quoted(name).cast(IntegerType)
      case _: DecimalType => quoted(name).cast(DoubleType)
      case _: NumericType => quoted(name)
      case _ =>
        throw new DataError(s"column '$name' is of type ${kind.simpleString}: labels should be numbers, for classes" +
        s" counted from 0${howToEncode(kind)}")
    }
  }

  /** A column of doubles. */
  def weight(schema: StructType, name: String): Column = typeOf(schema, name, "weights") match {
    case _: NumericType => quoted(name).cast(DoubleType)
    case kind =>
      throw new DataError(s"column '$name' is of type ${kind.simpleString}: weights should be numbers, at least 0")
  }

  /** A column of booleans. */
  def heldOut(schema: StructType, name: String): Column = typeOf(schema, name, "validation indicator") match {
    case BooleanType => quoted(name)
    case kind =>
      throw new DataError(s"column '$name' is of type ${kind.simpleString}: a validation indicator should be a" +
      " boolean, true for rows that are measured and not trained on")
  }

  /** A column name that the schema does not have, as Spark compares them, without regard to case. */
  def freeName(schema: StructType, wish: String): String =
    Iterator.iterate(wish)(_ + "_").find(name => !schema.fieldNames.exists(_.equalsIgnoreCase(name))).get

  /** Throws IllegalArgumentException where columns of these names cannot be added, as spark.ml's models do. */
  def requireNew(schema: StructType, names: Seq[String]): Unit = {
    names.foldLeft(schema.fieldNames.map(_.toLowerCase).toSet) { (taken, name) =>
      if (taken(name.toLowerCase)) throw new IllegalArgumentException(s"there is a column '$name' already")
      taken + name.toLowerCase
    }
    ()
  }

  def quoted(name: String): Column = col("`" + name.replace("`", "``") + "`")

  private def oneForFeatures(schema: StructType, name: String): Column = {
    val kind = typeOf(schema, name, "features")
    kind match {
      case VectorType | BinaryType | ArrayType(FloatType | DoubleType, _) => quoted(name)
      case ArrayType(_: NumericType | BooleanType, containsNull) =>
        quoted(name).cast(ArrayType(FloatType, containsNull))
      case _ => throw new DataError(s"column '$name' is of type ${kind.simpleString}: features should be a vector," +
        s" an array of numbers or bytes, or several columns of numbers${howToEncode(kind)}")
    }
  }

  private def numberForFeatures(schema: StructType, name: String): Column =
    typeOf(schema, name, "features") match {
      case _: NumericType | BooleanType => quoted(name).cast(FloatType)
      case kind =>
        throw new DataError(s"column '$name', one of several for the features, is of type ${kind.simpleString}:" +
        s" each should be a number${howToEncode(kind)}")
    }

  private def typeOf(schema: StructType, name: String, what: String): DataType =
    schema.find(_.name == name).map(_.dataType).getOrElse(throw new DataError(
      s"there is no column '$name' for the $what; the columns are ${schema.fieldNames.mkString(", ")}"))

  private def howToEncode(kind: DataType): String =
    if (kind == StringType) "; org.apache.spark.ml.feature.StringIndexer makes numbers of text" else ""
}
