package insurewatch;

import com.fasterxml.jackson.databind.ObjectMapper;
import io.opentelemetry.api.GlobalOpenTelemetry;
import io.opentelemetry.api.trace.SpanKind;
import io.opentelemetry.context.Context;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.TreeMap;
import org.springframework.jdbc.core.JdbcTemplate;
import org.springframework.jdbc.datasource.DriverManagerDataSource;
import org.springframework.stereotype.Component;

/**
 * Sends to the lab's claims queue, a table of a SQLite file.
 *
 * <p>No agent knows this queue, as it would know Kafka or JMS. So this class does by hand what an instrumentation does for
 * those: a PRODUCER span, and the context injected into the message's attributes, in whatever formats OTEL_PROPAGATORS names.
 */
@Component
class ClaimsQueue {
    private static final String INSERT = """
            INSERT INTO queue_messages (queue, id, body, attributes, visible_at_ms)
            VALUES ('claims', ?, ?, ?, (SELECT now_ms FROM queue_clock)) ON CONFLICT (queue, id) DO NOTHING""";

    private final Path file;
    private final JdbcTemplate queue;
    private final ObjectMapper json;

    ClaimsQueue(ObjectMapper json) {
        var url = System.getenv().getOrDefault("QUEUE_URL", "sqlite://queue.db");
        if (!url.startsWith("sqlite://")) {
            throw new IllegalArgumentException("QUEUE_URL must be sqlite:///path/queue.db, not " + url);
        }
        this.file = Path.of(url.substring("sqlite://".length()));
        this.queue = new JdbcTemplate(new DriverManagerDataSource("jdbc:sqlite:" + file + "?busy_timeout=5000"));
        this.json = json;
    }

    void send(String claimId, String body) {
        var span = GlobalOpenTelemetry.getTracer("insurewatch.claims-queue").spanBuilder("send claims")
                .setSpanKind(SpanKind.PRODUCER)
                .setAttribute("messaging.system", "insurewatch")
                .setAttribute("messaging.destination.name", "claims")
                .setAttribute("messaging.operation.name", "send")
                .setAttribute("messaging.operation.type", "send")
                .setAttribute("messaging.message.id", claimId)
                .startSpan();
        try (var scope = span.makeCurrent()) {
            var attributes = new TreeMap<String, Map<String, String>>();
            GlobalOpenTelemetry.getPropagators().getTextMapPropagator().inject(Context.current(), attributes,
                    (carrier, name, value) -> carrier.put(name, Map.of("DataType", "String", "StringValue", value)));
            queue.update(INSERT, claimId, body, json.writeValueAsString(attributes));
            // Whoever writes this file wakes the receivers at once; they look by themselves after a second.
            Files.writeString(Path.of(file + "-bell"), "!");
        } catch (IOException notRung) {
            span.recordException(notRung);
        } finally {
            span.end();
        }
    }
}
