package downpour.ml

import org.apache.spark.sql.types.{StructField, StructType}

/** What training leaves. It travels to executors.
  *
  * @param jobText the job
  * @param parameters the bytes of a safetensors file
  * @param classes 0 where labels are numbers
  * @param rowValues values of a sample
  */
private[ml] final case class TrainedNet(jobText: String, parameters: Array[Byte], classes: Int, rowValues: Int)

private[ml] object TrainedNet {
  /** A schema with further columns, in place of those of the same names. */
  def withAdded(schema: StructType, added: Seq[StructField]): StructType = {
    val names = added.map(_.name).toSet
    StructType(schema.filterNot(field => names(field.name)) ++ added)
  }
}
