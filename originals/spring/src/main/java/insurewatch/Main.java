package insurewatch;

import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;

/** The claims service as a real Spring Boot application: the seat {@code java-claims}. */
@SpringBootApplication
public class Main {
    public static void main(String[] args) {
        var url = System.getenv().getOrDefault("DATABASE_URL", "sqlite://claims.db");
        // Its own file: another service that sat here before kept its claims otherwise.
        System.setProperty("insurewatch.database", url.substring("sqlite://".length()).replaceFirst("\\.db$", "-spring.db"));
        SpringApplication.run(Main.class, args);
    }
}
