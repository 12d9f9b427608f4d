package downpour

import org.apache.spark.sql.types.StructType
import org.apache.spark.sql.{DataFrame, Dataset}

/** Which columns of a DataFrame are trained on.
  *
  * @param features one column of bytes, one a value, arrays of numbers or vectors; or a list of columns of numbers
  * @param label a class, counted from 0, or where the net's loss takes numbers a number
  * @param weight how much a row counts, at least 0; none for all alike
  * @param heldOut a boolean, true for rows that are not trained on but measured after each epoch; none for no row
  */
private[downpour] final case class TrainingColumns(features: Either[String, Seq[String]], label: String,
                                                   weight: Option[String] = None, heldOut: Option[String] = None) {
  private val names = features.left.toOption.toSeq ++ Seq(label) ++ weight ++ heldOut
  if (names.distinct.size < names.size) throw new DataError(
    "features, label, weight and validation indicator should be different columns, not " + names.mkString(", "))

  /** The rows of a RowLayout. DataError for a column that is not there or of another type. */
  def select(data: Dataset[_]): DataFrame = {
    val schema = data.schema
    val expressions =
      Seq(Columns.features(schema, features).as("features"), Columns.label(schema, label).as("label")) ++
      weight.map(Columns.weight(schema, _).as("weight")) ++ heldOut.map(Columns.heldOut(schema, _).as("held_out"))
    data.select(expressions: _*)
  }

  /** How the rows of `select`, which have this schema, become a feed. */
  def layout(schema: StructType): RowLayout =
    RowLayout(features.left.getOrElse("features"), new SampleReader(schema("features").dataType),
              new NumberReader(label, schema("label").dataType) +: weight.map(
                new NumberReader(_, schema("weight").dataType)).toSeq, heldOut)
}
