import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.core.execution.JobClient;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.table.api.StatementSet;
import org.apache.flink.table.api.TableResult;
import org.apache.flink.table.api.bridge.java.StreamTableEnvironment;

/**
 * The speed layer's job in Flink SQL: lines of a topic, the first of each id, views of seven measures, upserted into PostgreSQL. A line `run SCHEMA VIEW…` on
 * standard input counts the whole topic once; the answer is `done SECONDS`, from the job's submission to its end.
 */
public final class FlinkPeer {
  private static final int SLOTS = 2;
  private static final String MEASURES = "transactions, orders, refund_events, units_sold, units_refunded, gross_minor, refunds_minor";
  private static final String MEASURE_COLUMNS =
      "transactions BIGINT, orders BIGINT, refund_events BIGINT, units_sold BIGINT, units_refunded BIGINT, gross_minor BIGINT, refunds_minor BIGINT";

  private record View(String columns, String key, String select) {}

  private static final Map<String, View> VIEWS = new LinkedHashMap<>();

  static {
    VIEWS.put("revenue", new View("local_day DATE, city STRING, category STRING, currency STRING", "local_day, city, category, currency", "local_day, city, category, currency"));
    VIEWS.put("product_sales", new View("local_day DATE, product_id STRING, category STRING, currency STRING", "local_day, product_id, category, currency", "local_day, product_id, category, currency"));
    VIEWS.put("product_city_sales", new View("local_month DATE, product_id STRING, city STRING, currency STRING", "local_month, product_id, city, currency", "local_month, product_id, city, currency"));
    VIEWS.put("pace", new View("local_day DATE, local_hour INT, category STRING, currency STRING", "local_day, local_hour, category, currency", "local_day, local_hour, category, currency"));
  }

  /** Arguments: brokers, topic, JDBC URL, user, password, folder of checkpoints. */
  public static void main(String[] args) throws Exception {
    BufferedReader commands = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    System.out.println("ready");
    for (String line = commands.readLine(); line != null; line = commands.readLine()) {
      String[] words = line.split(" ");
      if (!words[0].equals("run")) break;
      try {
        System.out.println("done " + count(args, words));
      } catch (Exception failed) {
        failed.printStackTrace();
        System.out.println("failed " + String.valueOf(failed.getMessage()).replace('\n', ' '));
      }
    }
    System.exit(0);
  }

  private static double count(String[] args, String[] words) throws Exception {
    Configuration settings = new Configuration();
    settings.setString("taskmanager.numberOfTaskSlots", String.valueOf(SLOTS));
    settings.setString("taskmanager.memory.managed.size", "256mb");
    settings.setString("taskmanager.memory.network.min", "64mb");
    settings.setString("taskmanager.memory.network.max", "64mb");
    settings.setString("execution.checkpointing.interval", "10s");
    settings.setString("execution.checkpointing.mode", "EXACTLY_ONCE");
    settings.setString("execution.checkpointing.dir", Files.createTempDirectory(Path.of(args[5]), "checkpoints").toUri().toString());
    settings.setString("state.backend.type", "hashmap");
    // With reuse an operator hands a row on without a copy of it: the recommended setting where nothing keeps rows.
    settings.setString("pipeline.object-reuse", "true");
    StreamExecutionEnvironment environment = StreamExecutionEnvironment.createLocalEnvironment(SLOTS, settings);
    StreamTableEnvironment tables = StreamTableEnvironment.create(environment);
    Map<String, String> planner = Map.of(
        "table.exec.mini-batch.enabled", "true",
        "table.exec.mini-batch.allow-latency", "250 ms",
        "table.exec.mini-batch.size", "50000",
        "table.exec.source.idle-timeout", "0 ms",
        "table.optimizer.agg-phase-strategy", "AUTO",
        "table.local-time-zone", "UTC");
    planner.forEach((key, value) -> tables.getConfig().set(key, value));
    tables.executeSql("CREATE TABLE lines (transaction_id STRING, user_id STRING, product_id STRING, product_name STRING, category STRING, quantity BIGINT,"
        + " unit_price DECIMAL(18, 2), total DECIMAL(18, 2), local_text STRING, city STRING, arrived AS PROCTIME()) WITH ("
        + "'connector' = 'kafka', 'topic' = '" + args[1] + "', 'properties.bootstrap.servers' = '" + args[0] + "',"
        + "'properties.group.id' = 'flink-peer', 'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset',"
        + "'properties.fetch.max.wait.ms' = '10', 'properties.max.partition.fetch.bytes' = '8388608', 'properties.max.poll.records' = '5000',"
        + "'properties.isolation.level' = 'read_committed', 'format' = 'csv')");
    tables.executeSql("CREATE TEMPORARY VIEW events AS SELECT TO_DATE(SUBSTRING(local_text, 1, 10)) AS local_day,"
        + " TO_DATE(CONCAT(SUBSTRING(local_text, 1, 7), '-01')) AS local_month, CAST(SUBSTRING(local_text, 12, 2) AS INT) AS local_hour,"
        + " product_id, category, city, 'GBP' AS currency, quantity, CAST(total * 100 AS BIGINT) AS total_minor"
        + " FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY transaction_id ORDER BY arrived ASC) AS place FROM lines) WHERE place = 1");
    StatementSet inserts = tables.createStatementSet();
    for (int i = 2; i < words.length; i++) {
      View view = VIEWS.get(words[i]);
      tables.executeSql("CREATE TABLE " + words[i] + " (" + view.columns() + ", " + MEASURE_COLUMNS + ", PRIMARY KEY (" + view.key() + ") NOT ENFORCED) WITH ("
          + "'connector' = 'jdbc', 'url' = '" + args[2] + "', 'username' = '" + args[3] + "', 'password' = '" + args[4] + "',"
          + "'table-name' = '" + words[1] + "." + words[i] + "', 'sink.buffer-flush.max-rows' = '5000', 'sink.buffer-flush.interval' = '1s')");
      inserts.addInsertSql("INSERT INTO " + words[i] + " SELECT " + view.select()
          + ", COUNT(*), COUNT(*), CAST(0 AS BIGINT), SUM(quantity), CAST(0 AS BIGINT), SUM(total_minor), CAST(0 AS BIGINT) FROM events GROUP BY " + view.select());
    }
    TableResult submitted = inserts.execute();
    long startedAt = System.nanoTime();
    JobClient job = submitted.getJobClient().orElseThrow();
    // Not await(): it asks with a pause that grows.
    job.getJobExecutionResult().get();
    return (System.nanoTime() - startedAt) / 1e9;
  }
}
