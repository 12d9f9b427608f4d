package downpour

import java.nio.file.{Files, Paths}

import scala.util.control.NonFatal

import org.apache.spark.sql.{DataFrame, SparkSession}

import downpour.ml.{DownpourClassifier, DownpourEstimator, DownpourModel, DownpourRegressor}

/** A whole job from the command line, for spark-submit. */
object Main {
  private val Help =
    """Trains a job on a Spark cluster.
      |
      |  spark-submit --class downpour.Main downpour.jar JOB.yaml [flags]
      |
      |  --data PATH            rows to train on; without it the IDX files of the job's data.train, which every
      |                         executor's host must have
      |  --format FORMAT        what Spark reads them as (default: parquet); `table` for a table's name, not a path
      |  --option KEY=VALUE     an option for reading, such as header=true; may be given again
      |  --features-col NAME    vectors, arrays of numbers, or bytes, one a value (default: features); or a list of
      |                         columns of numbers, separated by commas
      |  --label-col NAME       classes, counted from 0, or numbers, as the job's net takes them (default: label)
      |  --weight-col NAME      how much each row counts
      |  --validation-indicator-col NAME
      |                         a boolean, true for rows that are not trained on but measured after each epoch
      |  --model PATH           where the model is saved, in place of what is there: anywhere that Spark can write;
      |                         downpour.ml.DownpourClassificationModel or DownpourRegressionModel loads it, here and
      |                         in Python
      |  --servers WHERE        driver: on this host, for the length of the run (default); tasks: each in a Spark task of
      |                         its own; running: at the job's servers.addresses already; or other addresses,
      |                         separated by commas
      |  --run-dir PATH         folder on the driver in which the run's own folder is made (default: the job's run.dir)
      |  --help                 this text
      |
      |Exit status: 0 trained; 1 failed, with the reason on standard error; 64 wrong flags.
      |""".stripMargin

  private final case class Options(job: String = "", data: Option[String] = None, format: String = "parquet",
                                   readOptions: Map[String, String] = Map.empty, featuresCol: String = "features",
                                   labelCol: String = "label", weightCol: Option[String] = None,
                                   heldOutCol: Option[String] = None, model: Option[String] = None,
                                   runDir: Option[String] = None, servers: Option[String] = None)

  private final class WrongFlags(message: String) extends RuntimeException(message)

  def main(arguments: Array[String]): Unit =
    if (arguments.contains("--help")) print(Help)
    else {
      val status = try {
        val options = parse(arguments.toList, Options())
        if (options.job.isEmpty) throw new WrongFlags("there is no job file")
        if (Files.isRegularFile(Paths.get(options.job))) run(options)
        else failed(s"there is no job file ${options.job}")
      } catch {
        case error: WrongFlags =>
          System.err.println(s"downpour: ${error.getMessage} (--help lists the flags)")
          ExitStatus.Usage
      }
      if (status != 0) System.exit(status)
    }

  private def parse(arguments: List[String], options: Options): Options = arguments match {
    case Nil => options
    case "--data" :: value :: rest => parse(rest, options.copy(data = Some(value)))
    case "--format" :: value :: rest => parse(rest, options.copy(format = value))
    case "--option" :: value :: rest if value.contains('=') =>
      val (key, text) = value.splitAt(value.indexOf('='))
      parse(rest, options.copy(readOptions = options.readOptions + (key -> text.drop(1))))
    case "--features-col" :: value :: rest => parse(rest, options.copy(featuresCol = value))
    case "--label-col" :: value :: rest => parse(rest, options.copy(labelCol = value))
    case "--weight-col" :: value :: rest => parse(rest, options.copy(weightCol = Some(value)))
    case "--validation-indicator-col" :: value :: rest => parse(rest, options.copy(heldOutCol = Some(value)))
    case "--model" :: value :: rest => parse(rest, options.copy(model = Some(value)))
    case "--run-dir" :: value :: rest => parse(rest, options.copy(runDir = Some(value)))
    case "--servers" :: value :: rest => parse(rest, options.copy(servers = Some(value)))
    case flag :: _ if flag.startsWith("-") => throw new WrongFlags(s"$flag is no flag, or lacks its value")
    case job :: rest if options.job.isEmpty => parse(rest, options.copy(job = job))
    case more :: _ => throw new WrongFlags(s"there is one job file: ${options.job}, or $more?")
  }

  private def run(options: Options): Int = {
    val spark = SparkSession.builder().appName("downpour").getOrCreate()
    try {
      val job = Job.check(Paths.get(options.job))
      val data = rows(spark, options, job)
      if (job.classes > 0) finish(configured(new DownpourClassifier, options).fit(data), options)
      else finish(configured(new DownpourRegressor, options).fit(data), options)
      0
    } catch {
      case error: TrainingFailed => failed(error.getMessage)
      case NonFatal(error) => failed(error.toString)
    } finally spark.stop()
  }

  private def configured[E <: DownpourEstimator[E, _]](one: E, options: Options): E = {
    one.setJob(options.job).setLabelCol(options.labelCol)
    options.weightCol.foreach(one.setWeightCol(_))
    options.heldOutCol.foreach(one.setValidationIndicatorCol(_))
    options.runDir.foreach(one.setRunDir(_))
    options.servers.foreach(one.setServers(_))
    options.featuresCol.split(',') match {
      case Array(name) => one.setFeaturesCol(name)
      case names => one.setFeaturesCols(names)
    }
  }

  private def rows(spark: SparkSession, options: Options, job: Job): DataFrame = options.data match {
    case Some(name) if options.format == "table" => spark.table(name)
    case Some(path) => spark.read.format(options.format).options(options.readOptions).load(path)
    case None => idx(spark, job)
  }

  /** The job's own training data. */
  private def idx(spark: SparkSession, job: Job): DataFrame = {
    val data = job.section("data")
    val train = data.get("train").flatMap(Json.asObject).getOrElse(Map.empty)
    def path(key: String) = train.get(key).map(_.toString).filter(_.nonEmpty).map(name => job.path.resolveSibling(name))
    (path("images"), path("labels")) match {
      case (Some(images), Some(labels)) =>
        Idx.read(spark, images, labels, job.workers, data.get("limit").fold(0L)(_.toString.toLong))
      case _ =>
        throw new TrainingFailed(s"${job.path} names no data.train.images and data.train.labels: name rows by --data")
    }
  }

  private def finish(model: DownpourModel[_], options: Options): Unit = {
    val summary = model.summary
    println("loss of each epoch: " + summary.objectiveHistory.map(loss => f"$loss%.3f").mkString(", "))
    summary.accuracy.foreach(accuracy => println(f"accuracy on held-out rows: ${100 * accuracy}%.2f %%"))
    println(s"run folder: ${summary.runDir}")
    options.model.foreach { path =>
      model.write.overwrite().save(path)
      println(s"model: $path")
    }
  }

  private def failed(reason: String): Int = {
    System.err.println(s"downpour: $reason")
    1
  }
}
