package downpour.ml

import downpour.{Epoch, FailedAttempt, Json, Measure, TrainingResult}

/** How training went, with one entry for each epoch in each history, the first 1000; NaN where nobody saw it.
  *
  * @param objectiveHistory mean loss over all workers' rows
  * @param accuracyHistory share of them that was right; NaN where labels are numbers
  * @param validationObjectiveHistory the same as objectiveHistory of rows that are held out; empty where there are none
  * @param validationAccuracyHistory the same as accuracyHistory of these
  * @param runDir the run's folder on the driver, with logs, plot and metrics
  * @param totals what ps-run's summary.json says
  * @param failedAttempts the tries that failed before others went on where they had got to
  */
final class TrainingSummary private[ml] (val objectiveHistory: Array[Double], val accuracyHistory: Array[Double],
                                         val validationObjectiveHistory: Array[Double],
                                         val validationAccuracyHistory: Array[Double], val runDir: String,
                                         val totals: Map[String, Any], val failedAttempts: Seq[FailedAttempt])
    extends Serializable {
  /** Epochs, as in spark.ml. */
  def totalIterations: Int = objectiveHistory.length

  /** On held-out rows, at the end; none where there are none. */
  def accuracy: Option[Double] = number("accuracy")

  /** Of all workers together; NaN where nothing was trained. */
  def samplesPerSecond: Double = number("images_per_second").getOrElse(Double.NaN)

  /** Updates by others that came between fetching parameters and pushing a gradient made from them, in the mean. */
  def staleness: Double = number("mean_staleness").getOrElse(Double.NaN)

  /** The totals as JSON text. */
  def json: String = Json.write(totals)

  private def number(key: String): Option[Double] = totals.get(key).collect { case n: Number => n.doubleValue }
}

private[ml] object TrainingSummary {
  def apply(result: TrainingResult): TrainingSummary = {
    val epochs = result.partitions.filter(_.samples > 0).map(_.epochs)
    val train = overWorkers(epochs)(_.train)
    val heldOut = Some(overWorkers(epochs)(_.heldOut)).filter(_.exists(_.isDefined)).getOrElse(Nil)
    def history(measures: Seq[Option[Measure]])(of: Measure => Option[Double]): Array[Double] =
      measures.map(_.flatMap(of).getOrElse(Double.NaN)).toArray
    new TrainingSummary(history(train)(one => Some(one.loss)), history(train)(_.accuracy),
                        history(heldOut)(one => Some(one.loss)), history(heldOut)(_.accuracy), result.runDir.toString,
                        result.summary, result.retries)
  }

  /** For each epoch that all partitions have seen, the mean over those who know it. */
  private def overWorkers(workers: Seq[Seq[Epoch]])(of: Epoch => Option[Measure]): Seq[Option[Measure]] =
    (0 until workers.map(_.size).minOption.getOrElse(0)).map { epoch =>
      val known = workers.flatMap(epochs => of(epochs(epoch)))
      val weight = known.map(_.weight).sum
      Option.when(weight > 0) {
        def mean(values: Seq[Double]) = values.zip(known).map { case (value, one) => value * one.weight }.sum / weight
        val accuracies = known.flatMap(_.accuracy)
        Measure(mean(known.map(_.loss)), Option.when(accuracies.size == known.size)(mean(accuracies)), weight)
      }
    }
}
