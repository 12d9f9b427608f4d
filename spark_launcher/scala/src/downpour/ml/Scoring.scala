package downpour.ml

import scala.collection.mutable

import org.apache.spark.TaskContext
import org.apache.spark.sql.Row

import downpour.{Answer, FeedColumn, FeedColumns, FrameEncoder, Predictor, SampleReader}

/** Rows with what a net makes of them, for Dataset.mapPartitions: one ps-predict for each task.
  *
  * Rows stream through it: no more are kept than two batches that are computed.
  *
  * @param featuresName the features' column to users, for messages
  * @param reader reads the features, which are the last column of each row; they are left out of what comes
  * @param layers whose values are asked for; none for the scores
  * @param columns what is added to a row: from the answers, and the row's place in them
  */
private[ml] final class Scoring(net: TrainedNet, featuresName: String, reader: SampleReader, layers: Seq[String],
                                columns: (Answer, Int) => Seq[Any])
    extends (Iterator[Row] => Iterator[Row]) with Serializable {

  override def apply(rows: Iterator[Row]): Iterator[Row] = if (rows.hasNext) new Scored(rows) else Iterator.empty

  private final class Scored(rows: Iterator[Row]) extends Iterator[Row] {
    private val predictor = new Predictor(net.jobText, net.parameters, layers)
    TaskContext.get().addTaskCompletionListener[Unit](_ => predictor.close())
    private val encoder = new FrameEncoder(FeedColumns(FeedColumn(featuresName, reader.tensorType)), net.rowValues,
                                           predictor, Scoring.BatchRows)
    private val unanswered = mutable.Queue.empty[Row]
    private var answer = Option.empty[Answer]
    private var at = 0 // the next row of the answer

    override def hasNext: Boolean = {
      val more = unanswered.nonEmpty || rows.hasNext
      if (!more) predictor.close()
      more
    }

    override def next(): Row = {
      if (answer.forall(_.rows == at)) {
        feed()
        answer = Some(predictor.next())
        at = 0
      }
      at += 1
      Row.fromSeq(unanswered.dequeue().toSeq.init ++ columns(answer.get, at - 1))
    }

    /** Sends rows until two batches are on their way. */
    private def feed(): Unit = {
      while (unanswered.size < 2 * Scoring.BatchRows && rows.hasNext) {
        val row = rows.next()
        reader.read(row, row.length - 1, encoder)
        encoder.endRow()
        unanswered.enqueue(row)
      }
      if (!rows.hasNext) encoder.flush()
    }
  }
}

private[ml] object Scoring {
  val BatchRows = 256
}
