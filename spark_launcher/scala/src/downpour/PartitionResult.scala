package downpour

/** What came of samples.
  *
  * @param loss the mean
  * @param accuracy share of right classes; none where labels are numbers
  * @param weight the sum of the rows' weights
  */
private[downpour] final case class Measure(loss: Double, accuracy: Option[Double], weight: Double)

/** One epoch of a partition; none for what an earlier try at it went through, or what is not there.
  *
  * @param train over its batches, each by the parameters of its step
  * @param heldOut at its end, by the worker's own copy
  */
private[downpour] final case class Epoch(train: Option[Measure], heldOut: Option[Measure])

/** What one partition's worker did.
  *
  * @param loss none for a partition without rows
  * @param epochs the first 1000
  */
private[downpour] final case class PartitionResult(partition: Int, steps: Long, samples: Long, loss: Option[Double],
                                                   seconds: Double, epochs: Seq[Epoch])

private[downpour] object PartitionResult {
  /** From the event `done` of worker/CONTRACT.md. */
  def of(partition: Int, done: Map[String, Any]): PartitionResult = {
    val epochs = Json.objects(done.get("epochs"))
    PartitionResult(partition, number(done, "steps").fold(0L)(_.toLong), number(done, "samples").fold(0L)(_.toLong),
                    number(done, "loss"), number(done, "seconds").getOrElse(0),
                    epochs.map(epoch => Epoch(measure(epoch, "train"), measure(epoch, "held_out"))))
  }

  private def measure(epoch: Map[String, Any], key: String): Option[Measure] =
    for {
      values <- epoch.get(key).flatMap(Json.asObject)
      loss <- number(values, "loss")
    } yield Measure(loss, number(values, "accuracy"), number(values, "weight").getOrElse(0))

  private def number(values: Map[String, Any], key: String): Option[Double] =
    values.get(key).collect { case n: Number => n.doubleValue }
}
